import vesalius as vs

image = vs.read("ct.nii.gz")  # NIfTI, NRRD, MetaImage, DICOM, PNG, npz ...
session = vs.Session(vs.load("vesalius-s"), image)

centre = image.grid.world([n / 2 for n in image.grid.shape])  # prompts are positions in RAS+ mm
mask = session.add(vs.Point(tuple(centre)), target="liver")
mask = session.add(vs.Point.from_index(image.grid, (3, 4, 2), positive=False), target="liver")  # a correction
session.undo()

vs.write(session.result(), "mask.seg.nrrd")  # on the image's own grid
