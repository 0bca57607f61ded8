"""DICOM series as written by scanners: geometry against SimpleITK, values, and every refusal."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from vesalius.errors import FormatError
from vesalius.io.dicom import list_series, read_dicom
from vesalius.io.dicom_frames import is_dicom

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402
from pydicom.uid import (  # noqa: E402
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

AXIAL = ((1, 0, 0), (0, 1, 0))
CORONAL = ((1, 0, 0), (0, 0, -1))
OBLIQUE = ((0.8, 0.6, 0), (-0.48, 0.64, 0.6))
SPACING = (0.7, 0.5)  # between rows, between columns


def stored(slices: int = 5) -> NDArray[np.uint16]:
    """Stored values (slice, row, column), all different, so that no swap or flip goes unseen."""
    return np.arange(slices * 6 * 8, dtype=np.uint16).reshape(slices, 6, 8) * 5


def dataset(pixels: NDArray, **elements: object) -> FileDataset:
    """A CT image with pixels (row, column), to be changed by `elements`; None removes one."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    out = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    out.PatientName, out.PatientID, out.SeriesDescription = "Secret^Person", "ID4711", "Secret words"
    out.SOPClassUID, out.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    out.StudyInstanceUID, out.SeriesInstanceUID, out.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.5"
    out.SeriesNumber, out.Modality = 3, "CT"
    out.Rows, out.Columns = pixels.shape[-2:]
    out.SamplesPerPixel, out.PhotometricInterpretation = 1, "MONOCHROME2"
    out.BitsAllocated, out.BitsStored, out.HighBit, out.PixelRepresentation = 16, 16, 15, 0
    out.RescaleSlope, out.RescaleIntercept = 1, -1024
    out.PixelSpacing = list(SPACING)
    out.SliceThickness = 4
    out.PixelData = pixels.tobytes()
    for name, value in elements.items():
        if value is None:
            del out[name]
        else:
            setattr(out, name, value)
    return out


def stack(axes: tuple = AXIAL, step: tuple | None = None, slices: int = 5, **elements: object) -> list[FileDataset]:
    """The images of one series; the position moves by `step` (2.5 mm along the normal by default)."""
    move = np.cross(*axes) * 2.5 if step is None else np.array(step)
    out = []
    for k, pixels in enumerate(stored(slices)):
        position = [round(float(mm), 6) for mm in (10, -20, 30) + k * move]
        orientation = list(np.ravel(axes))
        out.append(dataset(pixels, ImagePositionPatient=position, ImageOrientationPatient=orientation, **elements))
    return out


def write(folder: Path, images: list[FileDataset], shuffle: bool = True) -> Path:
    """The images in files whose names say nothing about their order."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"IM{n:03}" for n in range(len(images))]
    if shuffle:
        random.Random(1).shuffle(names)
    for name, image in zip(names, images, strict=True):
        image.save_as(folder / name, enforce_file_format=True)
    return folder


def voxels(slices: int = 5) -> NDArray[np.int64]:
    """What `stored` means, as (column, row, slice)."""
    return stored(slices).transpose(2, 1, 0).astype(int) - 1024


@pytest.mark.parametrize("axes", [AXIAL, CORONAL, OBLIQUE])
def test_a_shuffled_series_has_the_geometry_that_simpleitk_reads(tmp_path: Path, axes: tuple) -> None:
    folder = write(tmp_path, stack(axes))
    image = read_dicom(folder)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    other = sitk.ReadImage(names)
    assert image.grid.shape == other.GetSize() == (8, 6, 5)
    for index in ((0, 0, 0), (7, 0, 0), (0, 5, 0), (0, 0, 4), (7, 5, 4)):
        lps = other.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(image.grid.world(index), np.multiply(lps, (-1, -1, 1)), atol=1e-4)
    np.testing.assert_array_equal(image.voxels[0], sitk.GetArrayFromImage(other).transpose(2, 1, 0))
    np.testing.assert_array_equal(image.voxels[0], voxels())
    assert image.voxels.dtype == np.int16
    assert image.source.format == "dicom" and image.source.space == "LPS" and image.source.modality == "CT"


def test_a_tilted_gantry_is_a_shear_that_keeps_every_position(tmp_path: Path) -> None:
    image = read_dicom(write(tmp_path, stack(AXIAL, step=(0, 0.9, 2.5))))
    for k in range(5):
        position = np.add((10, -20, 30), np.multiply(k, (0, 0.9, 2.5)))
        np.testing.assert_allclose(image.grid.world((0, 0, k)), position * (-1, -1, 1), atol=1e-6)
    np.testing.assert_array_equal(image.voxels[0], voxels())


def test_slices_stored_from_head_to_foot_come_out_along_their_normal(tmp_path: Path) -> None:
    image = read_dicom(write(tmp_path, stack(step=(0, 0, -2.5))))
    assert image.grid.codes == "LPS"
    np.testing.assert_array_equal(image.voxels[0], voxels()[:, :, ::-1])


def test_one_file_is_read_alone_and_a_zip_as_a_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "series", stack())
    (folder / "notes.txt").write_text("not DICOM")
    one = read_dicom(folder / "IM000")
    assert one.grid.shape == (8, 6, 1)
    assert one.grid.spacing_mm == pytest.approx((0.5, 0.7, 4))
    with zipfile.ZipFile(tmp_path / "series.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, f"deep/inside/{file.name}")
    zipped = read_dicom(tmp_path / "series.zip")
    np.testing.assert_array_equal(zipped.voxels[0], voxels())
    assert zipped.grid == read_dicom(folder).grid


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_pixels_are_the_same(tmp_path: Path, syntax: str) -> None:
    images, large = stack(), np.kron(stored(), np.ones((1, 8, 8), np.uint16))  # JPEG 2000 cannot be tiny
    for image, pixels in zip(images, large, strict=True):
        image.Rows, image.Columns, image.PixelData = *pixels.shape, pixels.tobytes()
        try:
            image.compress(syntax, generate_instance_uid=False)
        except RuntimeError as error:
            pytest.skip(f"no encoder: {error}")
    voxels = read_dicom(write(tmp_path, images)).voxels[0]
    np.testing.assert_array_equal(voxels, large.transpose(2, 1, 0).astype(int) - 1024)


def test_values_are_rescaled_slice_by_slice(tmp_path: Path) -> None:
    images = stack(Modality="PT")
    for k, image in enumerate(images):
        image.RescaleSlope, image.RescaleIntercept = 0.5 + k / 4, 0
    image = read_dicom(write(tmp_path, images))
    assert image.voxels.dtype == np.float32
    expected = stored() * np.array([0.5, 0.75, 1, 1.25, 1.5])[:, None, None]
    np.testing.assert_allclose(image.voxels[0], expected.transpose(2, 1, 0))


def test_whole_numbers_beyond_int16_are_float32(tmp_path: Path) -> None:
    image = read_dicom(write(tmp_path, [dataset(np.full((6, 8), 65535, np.uint16), RescaleIntercept=0)]))
    assert image.voxels.dtype == np.float32 and image.voxels.min() == 65535


def test_an_old_overlay_in_the_unused_bits_is_dropped_and_the_sign_kept(tmp_path: Path) -> None:
    values = np.arange(-24, 24, dtype=np.int16).reshape(6, 8)
    with_overlay = (values & 0x0FFF) | 0x5000
    elements = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1, "RescaleIntercept": 0}
    image = read_dicom(write(tmp_path, [dataset(with_overlay.astype(np.int16), **elements)]))
    np.testing.assert_array_equal(image.voxels[0, :, :, 0], values.T)


def radiograph(**elements: object) -> FileDataset:
    """A digital X-ray: no place in the patient, dense tissue stored dark."""
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8)
    defaults = {"Modality": "DX", "PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    return dataset(pixels, **defaults | {"RescaleIntercept": 0, "PixelSpacing": None} | elements)


def test_a_radiograph_is_one_voxel_thick_measured_at_the_detector_and_bright_where_dense(tmp_path: Path) -> None:
    elements = {"ImagerPixelSpacing": [0.3, 0.2], "EstimatedRadiographicMagnificationFactor": 1.25}
    image = read_dicom(write(tmp_path, [radiograph(**elements)]))
    assert image.grid.shape == (8, 6, 1) and image.grid.calibrated
    assert image.grid.spacing_mm == pytest.approx((0.16, 0.24, 1))
    np.testing.assert_array_equal(image.voxels[0, :, :, 0], 4095 - np.arange(48).reshape(6, 8).T)


def test_without_any_spacing_the_unit_is_the_pixel(tmp_path: Path) -> None:
    assert not read_dicom(write(tmp_path, [radiograph()])).grid.calibrated


def test_monochrome1_ct_keeps_its_hounsfield_units(tmp_path: Path) -> None:
    image = read_dicom(write(tmp_path, stack(PhotometricInterpretation="MONOCHROME1")))
    np.testing.assert_array_equal(image.voxels[0], voxels())


def test_ultrasound_regions_give_the_spacing_of_a_colour_picture(tmp_path: Path) -> None:
    region = Dataset()
    region.RegionSpatialFormat, region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = 1, 3, 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    pixels = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)
    elements = {"Modality": "US", "SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB"}
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "Rows": 6, "Columns": 8, "PixelSpacing": None}
    image = dataset(pixels, SequenceOfUltrasoundRegions=Sequence([region]), **elements, **bits)
    picture = read_dicom(write(tmp_path, [image]))
    assert picture.grid.spacing_mm == pytest.approx((0.2, 0.3, 1)) and picture.grid.calibrated
    np.testing.assert_array_equal(picture.voxels[..., 0], pixels.transpose(2, 1, 0))


def test_palette_colours_are_looked_up(tmp_path: Path) -> None:
    table = {}
    for colour, scale in (("Red", 1), ("Green", 2), ("Blue", 3)):
        values = (np.arange(48) * scale).astype(np.uint16) << 8
        table[f"{colour}PaletteColorLookupTableDescriptor"] = [48, 0, 16]
        table[f"{colour}PaletteColorLookupTableData"] = values.tobytes()
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8)
    image = read_dicom(write(tmp_path, [dataset(pixels, PhotometricInterpretation="PALETTE COLOR", **table)]))
    np.testing.assert_array_equal(image.voxels[..., 0], np.stack([pixels.T, pixels.T * 2, pixels.T * 3]))


def test_a_lookup_table_of_values_replaces_the_slope(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [48, 0, 16], (np.arange(48) * 7).astype(np.uint16).tobytes()
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8)
    lut = {"ModalityLUTSequence": Sequence([table]), "RescaleSlope": None, "RescaleIntercept": None}
    image = read_dicom(write(tmp_path, [dataset(pixels, **lut)]))
    np.testing.assert_array_equal(image.voxels[0, :, :, 0], pixels.T * 7)


def multiframe(positions: list[float]) -> FileDataset:
    """An enhanced CT whose frames lie at `positions` along z, each with an intercept of its own."""
    out = dataset(stored(len(positions)), NumberOfFrames=len(positions), PixelSpacing=None, RescaleIntercept=None)
    out.file_meta.MediaStorageSOPClassUID = out.SOPClassUID = EnhancedCTImageStorage
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(SPACING), 9
    plane.ImageOrientationPatient = list(np.ravel(AXIAL))
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    out.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for n, z in enumerate(positions):
        frame, place, scale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [10, -20, z]
        scale.RescaleSlope, scale.RescaleIntercept = 1, -1000 - n
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = Sequence([place]), Sequence([scale])
        frames.append(frame)
    out.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return out


def test_an_enhanced_multiframe_file_is_ordered_and_scaled_frame_by_frame(tmp_path: Path) -> None:
    image = read_dicom(write(tmp_path, [multiframe([6.0, 0.0, 3.0])]))
    assert image.grid.spacing_mm == pytest.approx((0.5, 0.7, 3))
    np.testing.assert_allclose(image.grid.world((0, 0, 0)), (-10, 20, 0))
    values = stored(3).astype(int) - np.array([1000, 1001, 1002])[:, None, None]
    np.testing.assert_array_equal(image.voxels[0], values[[1, 2, 0]].transpose(2, 1, 0))


def test_an_old_multiframe_file_steps_along_its_normal(tmp_path: Path) -> None:
    place = {"ImagePositionPatient": [0, 0, 5], "ImageOrientationPatient": list(np.ravel(AXIAL))}
    image = read_dicom(write(tmp_path, [dataset(stored(4), NumberOfFrames=4, SpacingBetweenSlices=2, **place)]))
    np.testing.assert_allclose(image.grid.world((0, 0, 3)), (0, 0, 11))
    np.testing.assert_array_equal(image.voxels[0], voxels(4))


def test_a_missing_slice_is_refused_and_resampled_on_request(tmp_path: Path) -> None:
    images = stack()
    folder = write(tmp_path, images[:2] + images[3:])
    with pytest.raises(FormatError, match=r"not evenly spaced \(5 mm after slice 1, 2.5 mm as a rule\).*--resample"):
        read_dicom(folder)
    image = read_dicom(folder, resample=True)
    assert image.grid.shape == (8, 6, 5) and image.grid.spacing_mm == pytest.approx((0.5, 0.7, 2.5))
    np.testing.assert_array_equal(image.voxels[0], voxels())  # the values rise linearly from slice to slice
    assert image.voxels.dtype == np.int16


def test_resampling_leaves_an_even_series_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, stack())
    assert read_dicom(folder, resample=True).grid == read_dicom(folder).grid


def test_several_series_are_listed_and_one_is_chosen(tmp_path: Path) -> None:
    write(tmp_path / "a", stack())
    write(tmp_path / "b", stack(CORONAL, slices=3, SeriesInstanceUID="1.2.3.99", SeriesNumber=12, Modality="MR"))
    with pytest.raises(FormatError, match="--series") as caught:
        read_dicom(tmp_path)
    assert "number 3, CT, 5 images of 8 x 6, UID 1.2.3.4" in str(caught.value)
    assert "number 12, MR, 3 images of 8 x 6, UID 1.2.3.99" in str(caught.value)
    assert [series.files for series in list_series(tmp_path)] == [5, 3]
    for name in ("12", "1.2.3.99", ".99"):
        assert read_dicom(tmp_path, series=name).grid.shape == (8, 6, 3)
    with pytest.raises(FormatError, match="none of them fit '7'"):
        read_dicom(tmp_path, series="7")


def test_reports_segmentations_and_second_copies_are_ignored(tmp_path: Path) -> None:
    images = stack()
    report = dataset(stored(1)[0], Rows=None, Columns=None, PixelData=None, Modality="SR", SeriesInstanceUID="1.9")
    write(tmp_path, [*images, report])
    mask = dataset(stored(1)[0], Modality="SEG", SeriesInstanceUID="1.8")
    mask.save_as(tmp_path / "mask", enforce_file_format=True)
    images[0].save_as(tmp_path / "copy of one")
    np.testing.assert_array_equal(read_dicom(tmp_path).voxels[0], voxels())


def test_a_localizer_inside_the_series_is_named(tmp_path: Path) -> None:
    scout = stack(CORONAL, slices=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])[0]
    folder = write(tmp_path, [*stack(), scout], shuffle=False)
    with pytest.raises(FormatError, match=r"orientation of IM005 \(a localizer\) differs from that of the other 5"):
        read_dicom(folder)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    odd = stack(slices=1, SOPInstanceUID="1.7", Rows=3)[0]
    with pytest.raises(FormatError, match="size of IM005 differs"):
        read_dicom(write(tmp_path, [*stack(), odd], shuffle=False))


def test_two_time_points_are_refused_with_what_tells_them_apart(tmp_path: Path) -> None:
    early, late = stack(AcquisitionNumber=1), stack(AcquisitionNumber=2)
    with pytest.raises(FormatError, match=r"10 images at 5 positions, which differ in AcquisitionNumber \(1, 2\)"):
        read_dicom(write(tmp_path, early + late))


def test_slices_shifted_sideways_are_refused(tmp_path: Path) -> None:
    images = stack()
    images[2].ImagePositionPatient = [12, -20, 35]
    with pytest.raises(FormatError, match="shifted sideways"):
        read_dicom(write(tmp_path, images))


def test_a_film_is_refused(tmp_path: Path) -> None:
    film = dataset(stored(4), NumberOfFrames=4, FrameTime=40, Modality="US", PixelSpacing=None)
    with pytest.raises(FormatError, match="4 images without a position"):
        read_dicom(write(tmp_path, [film]))


@pytest.mark.parametrize("spacing", [[0, 0.5], [-0.7, 0.5]])
def test_zero_and_negative_spacing_are_refused(tmp_path: Path, spacing: list[float]) -> None:
    with pytest.raises(FormatError, match="pixel spacing above zero"):
        read_dicom(write(tmp_path, stack(PixelSpacing=spacing)))


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    with pytest.raises(FormatError, match="holds no DICOM images"):
        read_dicom(tmp_path)
    with pytest.raises(FormatError, match="holds no DICOM images"):
        read_dicom(tmp_path / "notes.txt")
    with pytest.raises(FormatError, match="There is no file or folder"):
        read_dicom(tmp_path / "missing")
    assert not is_dicom(tmp_path / "notes.txt")


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, stack(), shuffle=False)
    file = folder / "IM002"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(FormatError, match=r"IM002 cannot be decoded.*cut short"):
        read_dicom(folder)


def test_a_video_is_refused(tmp_path: Path) -> None:
    images = stack(slices=1)
    images[0].PixelData = pydicom.encaps.encapsulate([b"film"])
    images[0].file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4
    images[0]["PixelData"].is_undefined_length = True
    with pytest.raises(FormatError, match="video or an unknown compression"):
        read_dicom(write(tmp_path, images))


def test_a_broken_header_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, stack(), shuffle=False)
    file = folder / "IM002"
    file.write_bytes(file.read_bytes().replace(b"0.7\\0.5", b"0.7\\x.5"))
    with pytest.raises(FormatError, match="IM002 is a damaged DICOM file"):
        read_dicom(folder)


def test_encrypted_and_damaged_zips_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "series.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("IM000", b"secret")
    content = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    archive.write_bytes(content)
    with pytest.raises(FormatError, match="encrypted"):
        read_dicom(archive)
    archive.write_bytes(content[:20])
    with pytest.raises(FormatError, match="damaged zip"):
        read_dicom(archive)


def test_a_missing_pydicom_and_a_missing_decoder_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = stack(slices=1)
    images[0].compress(RLELossless, generate_instance_uid=False)
    folder = write(tmp_path, images)
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.is_available", False)
    with pytest.raises(FormatError, match=r"compressed as RLE Lossless.*pip install 'vesalius\[dicom\]'"):
        read_dicom(folder)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(FormatError, match=r"needs pydicom: pip install 'vesalius\[dicom\]'"):
        read_dicom(folder)


def test_patient_data_and_identifiers_stay_out(tmp_path: Path) -> None:
    image = read_dicom(write(tmp_path, stack()))
    assert "1.2.3" not in repr(image)
    references = image.source.header["references"]
    assert isinstance(references, dict)
    assert references["series"] == "1.2.3.4" and len(references["instances"]) == 5
    everything = json.dumps(references) + repr(image.source) + str(list_series(tmp_path))
    assert "Secret" not in everything and "ID4711" not in everything
