"""Small folders laid out as the providers' downloads are, with one structure drawn at one known place in every case."""

from __future__ import annotations

import csv
import json
import zlib
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHAPE = (6, 5, 4)
DRAWN = (slice(1, 3), slice(1, 4), slice(1, 3))
COSINE, SINE = np.cos(0.1), np.sin(0.1)  # turned by a few degrees
AFFINE = np.array(
    [[-0.7, 0, 0, 12], [0, 0.8 * COSINE, 2.5 * SINE, -7], [0, -0.8 * SINE, 2.5 * COSINE, 30], [0, 0, 0, 1]]
)


def mask(shape: tuple[int, ...] = SHAPE) -> NDArray[np.bool_]:
    """Where the structure of every case is."""
    drawn = np.zeros(shape, bool)
    drawn[DRAWN[: len(shape)]] = True
    return drawn


def numbers(seed: str, shape: tuple[int, ...] = SHAPE) -> NDArray[np.int16]:
    """Image values that differ from case to case."""
    return np.random.default_rng(zlib.crc32(seed.encode())).integers(-800, 800, shape).astype(np.int16)


def put(path: Path, voxels: NDArray, affine: NDArray = AFFINE) -> Path:
    """A NIfTI file in folders that are made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def image(path: Path) -> Path:
    """An image that no other path has."""
    return put(path, numbers(str(path)))


def labels(path: Path, code: int = 1) -> Path:
    """A label image in which the structure has this code."""
    return put(path, (mask() * code).astype(np.uint8))


def text(path: Path, content: object) -> None:
    """A text file, or JSON of anything else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def picture(path: Path, pixels: NDArray) -> None:
    """A grey PNG of (columns, rows)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.T.astype(np.uint8)).save(path)


def dicom(folder: Path, voxels: NDArray, name: str, downwards: bool = True) -> list[str]:
    """An axial series (columns, rows, slices), one file per slice, the first one on top; the names of the files."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    files, series = [], generate_uid()
    slices = voxels.shape[2]
    for n in range(slices):
        k = slices - 1 - n if downwards else n
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        out = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        out.SOPClassUID, out.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        out.StudyInstanceUID, out.SeriesInstanceUID, out.Modality = "1.2.3", series, "CT"
        out.Rows, out.Columns = voxels.shape[1], voxels.shape[0]
        out.SamplesPerPixel, out.PhotometricInterpretation = 1, "MONOCHROME2"
        out.BitsAllocated, out.BitsStored, out.HighBit, out.PixelRepresentation = 16, 16, 15, 1
        out.RescaleSlope, out.RescaleIntercept = 1, 0
        out.PixelSpacing, out.SliceThickness = [0.7, 0.7], 3
        out.ImagePositionPatient, out.ImageOrientationPatient = [10, -20, 30 + 3 * k], [1, 0, 0, 0, 1, 0]
        out.PixelData = np.ascontiguousarray(voxels[:, :, k].T.astype(np.int16)).tobytes()
        files.append(name.format(n))
        out.save_as(folder / files[-1], enforce_file_format=True)
    return files


def btcv(root: Path) -> None:
    training = root / "RawData/Training"
    for n in ("0001", "0002"):
        image(training / f"img/img{n}.nii.gz")
        labels(training / f"label/label{n}.nii.gz", 6)
    image(root / "RawData/Testing/img/img0061.nii.gz")


def pancreas_ct(root: Path) -> None:
    for n in ("0001", "0002"):
        series = root / f"Pancreas-CT/PANCREAS_{n}/11-24-2015-PANCREAS{n}-Pancreas-18957/Pancreas-99667"
        dicom(series, numbers(n), "1-{:03d}.dcm")
        turned = mask()[::-1, ::-1]  # the same place in right, anterior, superior order
        put(
            root / f"TCIA_pancreas_labels-02-05-2017/label{n}.nii.gz",
            turned.astype(np.uint8),
            np.diag([0.7, 0.7, 3, 1]),
        )


def chaos(root: Path) -> None:
    train = root / "Train_Sets"
    dicom(train / "CT/1/DICOM_anon", numbers("ct"), "i{:04d},0000b.dcm")
    dicom(train / "MR/1/T1DUAL/DICOM_anon/InPhase", numbers("in"), "IMG-0004-{:05d}.dcm", downwards=False)
    dicom(train / "MR/1/T1DUAL/DICOM_anon/OutPhase", numbers("out"), "IMG-0004-{:05d}.dcm", downwards=False)
    dicom(train / "MR/1/T2SPIR/DICOM_anon", numbers("t2"), "IMG-0002-{:05d}.dcm", downwards=False)
    for n in range(SHAPE[2]):
        picture(train / f"CT/1/Ground/liver_GT_{n:03d}.png", mask()[:, :, SHAPE[2] - 1 - n] * 255)
        picture(train / f"MR/1/T1DUAL/Ground/IMG-0004-{n:05d}.png", mask()[:, :, n] * 63)
        picture(train / f"MR/1/T2SPIR/Ground/IMG-0002-{n:05d}.png", mask()[:, :, n] * 60)


def lits(root: Path) -> None:
    for batch, n in (("1", 0), ("2", 28)):
        image(root / f"Training Batch {batch}/volume-{n}.nii")
        labels(root / f"Training Batch {batch}/segmentation-{n}.nii")


def kits(root: Path) -> None:
    for n in (0, 1):
        image(root / f"dataset/case_0000{n}/imaging.nii.gz")
        labels(root / f"dataset/case_0000{n}/segmentation.nii.gz")
    (root / "dataset/case_00001/instances").mkdir()
    image(root / "dataset/case_00002/imaging.nii.gz")
    labels(root / "dataset/case_00002/aggregated_MAJ_seg.nii.gz")


def ircadb(root: Path) -> None:
    patient = root / "3Dircadb1/3Dircadb1.1"
    text(root / "3Dircadb1.zip", "the archive that all came from")
    text(patient / "PATIENT_DICOM.zip", "one of those inside")
    dicom(patient / "PATIENT_DICOM", numbers("1", (6, 5, 12)), "image_{}")
    for structure in ("liver", "livertumor01"):
        dicom(patient / f"MASKS_DICOM/{structure}", mask((6, 5, 12)) * 255, "image_{}")


def word(root: Path) -> None:
    for part, n in (("Tr", 2), ("Val", 14), ("Ts", 1)):
        image(root / f"WORD-V0.1.0/images{part}/word_{n:04d}.nii.gz")
        labels(root / f"WORD-V0.1.0/labels{part}/word_{n:04d}.nii.gz")
    image(root / "WORD-V0.1.0/imagesTs/word_0003.nii.gz")


def abdomenct_1k(root: Path) -> None:
    for part, n in ((1, 1), (3, 802)):
        image(root / f"AbdomenCT-1K-ImagePart{part}/Case_{n:05d}_0000.nii.gz")
        labels(root / f"Mask/Case_{n:05d}.nii.gz")


def amos(root: Path) -> None:
    for part, n in (("Tr", 1), ("Tr", 507), ("Va", 8)):
        image(root / f"amos22/images{part}/amos_{n:04d}.nii.gz")
        labels(root / f"amos22/labels{part}/amos_{n:04d}.nii.gz", 6)
    image(root / "amos22/imagesTs/amos_0002.nii.gz")
    text(root / "amos22/dataset.json", {"labels": {"0": "background"}, "training": [], "modality": {"0": "CT"}})


def ct_org(root: Path) -> None:
    for n in (0, 21):
        image(root / f"OrganSegmentations/volume-{n}.nii.gz")
        labels(root / f"OrganSegmentations/labels-{n}.nii.gz")


def verse(root: Path) -> None:
    for archive, name in (
        ("dataset-verse19training", "sub-verse004"),
        ("dataset-verse19test", "sub-verse010"),
        ("dataset-verse20validation", "sub-verse500_dir-ax"),
    ):
        subject = name.split("_")[0]
        image(root / f"{archive}/rawdata/{subject}/{name}_ct.nii.gz")
        labels(root / f"{archive}/derivatives/{subject}/{name}_seg-vert_msk.nii.gz", 20)


def ctspine1k(root: Path) -> None:
    names = ("COLONOG/1.3.6.1.4.1.9328.50.4.0001", "MSD-T10/liver_0", "HNSCC-3DCT-RT/HN_P007")
    for name in names:
        image(root / f"raw_data/volumes/{name}.nii.gz")
        labels(root / f"raw_data/labels/{name}_seg.nii.gz", 20)
    splits = zip(("trainset:", "test_public:", "test_private:"), (f"{Path(n).name}.nii.gz" for n in names), strict=True)
    text(root / "metadata/data_split.txt", "\n".join(line for pair in splits for line in pair))


def totalsegmentator_ct(root: Path) -> None:
    _totalsegmentator(root / "Totalsegmentator_dataset_v201", "ct.nii.gz")


def totalsegmentator_mr(root: Path) -> None:
    _totalsegmentator(root / "TotalsegmentatorMRI_dataset_v200", "mri.nii.gz")


def _totalsegmentator(root: Path, file: str) -> None:
    for subject in ("s0001", "s0002", "s0003"):
        image(root / subject / file)
        labels(root / subject / "segmentations/liver.nii.gz")
        put(root / subject / "segmentations/spleen.nii.gz", np.zeros(SHAPE, np.uint8))
    text(root / "meta.csv", "\ufeffimage_id;age;split\ns0001;50;train\ns0002;60;val\ns0003;70;test\n")


def acdc(root: Path) -> None:
    for part, patient in (("training", "patient001"), ("testing", "patient101")):
        where = root / f"database/{part}/{patient}"
        for frame in ("01", "12"):
            image(where / f"{patient}_frame{frame}.nii.gz")
            labels(where / f"{patient}_frame{frame}_gt.nii.gz", 3)
        put(where / f"{patient}_4d.nii.gz", numbers(patient, (*SHAPE, 2)))


def flare22(root: Path) -> None:
    for n in ("0001", "0002"):
        image(root / f"FLARE22_LabeledCase50/images/FLARE22_Tr_{n}_0000.nii.gz")
        labels(root / f"FLARE22_LabeledCase50/labels/FLARE22_Tr_{n}.nii.gz")


def brats2021(root: Path) -> None:
    for n in ("00000", "00002"):
        where = root / f"BraTS2021_{n}"
        for sequence in ("t1", "t1ce", "t2", "flair"):
            image(where / f"BraTS2021_{n}_{sequence}.nii.gz")
        labels(where / f"BraTS2021_{n}_seg.nii.gz", 4)


def brats2023(root: Path) -> None:
    for visit in ("000", "001"):
        name = f"BraTS-GLI-00000-{visit}"
        for sequence in ("t1n", "t1c", "t2w", "t2f"):
            image(root / f"ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData/{name}/{name}-{sequence}.nii.gz")
        labels(root / f"ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData/{name}/{name}-seg.nii.gz", 3)


def brats2024(root: Path) -> None:
    for visit in ("100", "101"):
        name = f"BraTS-GLI-00005-{visit}"
        for sequence in ("t1n", "t1c", "t2w", "t2f"):
            image(root / f"training_data1_v2/{name}/{name}-{sequence}.nii.gz")
        labels(root / f"training_data1_v2/{name}/{name}-seg.nii.gz", 4)


def sa_med2d(root: Path) -> None:
    where = root / "SAMed2Dv1"
    name = "ct_00--AbdomenCT1K--Case_00011--x_0041"
    picture(where / f"images/{name}.png", numbers(name, SHAPE[:2]) % 256)
    half, rest = mask(SHAPE[:2]), mask(SHAPE[:2])
    half[2:], rest[:2] = False, False
    for instance, drawn in enumerate((half, rest)):
        picture(where / f"masks/{name}--0001_{instance:03d}.png", drawn * 255)
    masks = [f"masks/{name}--0001_{instance:03d}.png" for instance in (0, 1)]
    text(where / "SAMed2D_v1.json", {f"images/{name}.png": masks})
    classes = {"AbdomenCT1K": {"liver": "0001", "kidney": "0002"}, "ACDC": {"myocardium": "0001"}}
    text(where / "SAMed2D_v1_class_mapping_id.json", classes)


def imed_361m(root: Path) -> None:
    from scipy import sparse

    where, pairs = root / "BTCV", []
    for name in ("ABD_001_64", "ABD_001_74"):
        picture(where / f"image/{name}.png", numbers(name, SHAPE[:2]) % 256)
        dense = np.zeros((2, SHAPE[1], SHAPE[0], 1), np.uint8)
        dense[1, :, :, 0] = mask(SHAPE[:2]).T
        label = f"label/x___{name}.{dense.shape}.npz"
        (where / "label").mkdir(exist_ok=True)
        sparse.save_npz(where / label, sparse.csr_matrix(dense.reshape(2, -1)))
        pairs.append({"image": f"image/{name}.png", "label": label, "imask": f"imask/x___{name}.npy"})
    names = {"0": "background", "1": "spleen", "2": "liver"}
    text(where / "dataset.json", {"name": "BTCV", "modality": {"0": "ct"}, "labels": names, "training": pairs})


def chexmask(root: Path) -> None:
    rows = []
    for name, quality in (("good", 0.9), ("bad", 0.5), ("elsewhere", 0.9)):
        if name != "elsewhere":
            picture(root / f"images/{name}.png", numbers(name, SHAPE[:2]) % 256)
        runs = " ".join(f"{1 + row * SHAPE[0] + 1} 2" for row in (1, 2, 3))
        row = {"image_id": name, "Dice RCA (Mean)": quality, "Dice RCA (Max)": 1, "Landmarks": "[[1 2]\n [3 4]]"}
        rows.append(row | {"Left Lung": "", "Right Lung": "", "Heart": runs, "Height": SHAPE[1], "Width": SHAPE[0]})
    table = root / "OriginalResolution/VinDr-CXR.csv"
    table.parent.mkdir()
    with table.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def msd(root: Path) -> None:
    where, names = root / "Task05_Prostate", ("prostate_00", "prostate_01")
    for name in names:
        put(where / f"imagesTr/{name}.nii.gz", numbers(name, (*SHAPE, 2)))
        labels(where / f"labelsTr/{name}.nii.gz", 2)
        text(where / f"imagesTr/._{name}.nii.gz", "what a Mac leaves behind")
    put(where / "imagesTs/prostate_03.nii.gz", numbers("test", (*SHAPE, 2)))
    pairs = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names]
    facts = {"name": "PROSTATE", "reference": "Radboud", "licence": "CC-BY-SA 4.0", "training": pairs}
    facts |= {"modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "PZ", "2": "TZ"}}
    text(where / "dataset.json", facts | {"test": ["./imagesTs/prostate_03.nii.gz"]})


def nnunet(root: Path) -> None:
    where = root / "Dataset005_Prostate"
    for part, name in (("Tr", "a_1"), ("Tr", "b"), ("Ts", "c")):
        for n in (0, 1):
            image(where / f"images{part}/{name}_{n:04d}.nii.gz")
        labels(where / f"labels{part}/{name}.nii.gz", 2)
    facts = {"channel_names": {"0": "T2", "1": "ADC"}, "labels": {"background": 0, "PZ": 1, "TZ": 2}}
    text(where / "dataset.json", facts | {"numTraining": 2, "file_ending": ".nii.gz", "licence": "CC0"})
    text(where / "splits_final.json", [{"train": ["a_1"], "val": ["b"]}])


def bids(root: Path) -> None:
    where = root / "raw/derivatives/manual"
    for subject in ("sub-01", "sub-02"):
        image(root / f"raw/{subject}/anat/{subject}_T1w.nii.gz")
        labels(where / f"{subject}/anat/{subject}_desc-expert_dseg.nii.gz", 17)
    facts = {"Name": "hippocampi", "BIDSVersion": "1.10.0", "DatasetType": "derivative", "License": "CC0"}
    text(where / "dataset_description.json", facts)
    text(where / "dseg.tsv", "index\tname\n0\tbackground\n17\thippocampus\n")


def npz(root: Path) -> None:
    for name in ("CT_liver_1", "CT_liver_2"):
        arrays = {"imgs": numbers(name).transpose(2, 1, 0) % 256, "gts": mask().transpose(2, 1, 0).astype(np.uint8)}
        np.savez_compressed(root / f"{name}.npz", **arrays, spacing=np.array([0.7, 0.8, 2.5]))


def pairs(root: Path) -> None:
    for name in ("first", "second"):
        picture(root / f"images/{name}.png", numbers(name, SHAPE[:2]) % 256)
        picture(root / f"masks/{name}.png", mask(SHAPE[:2]) * 3)
    text(root / "labels.json", {"background": 0, "polyp": 3})


def vesalius(root: Path) -> None:
    for name in ("a", "b"):
        image(root / f"spleens/images/{name}.nii.gz")
        labels(root / f"spleens/labels/{name}.nii.gz")
    facts = {"name": "spleens", "modality": "CT", "dimension": 3, "labels": {"background": 0, "spleen": 1}}
    facts |= {"label_kind": "semantic", "annotated": ["spleen"], "licence": "CC0-1.0", "source": "made here"}
    text(root / "spleens/dataset.json", facts | {"split": {"a": "train", "b": "val"}, "group": {"a": "patient 7"}})
