"""The structures of TotalSegmentator, MRSegmentator and MultiTalent, in the order of their networks' outputs."""

from __future__ import annotations


def words(text: str) -> list[str]:
    """The names in a text."""
    return text.split()


TOTALSEGMENTATOR = {  # part -> structures
    "organs": words("""
        spleen kidney_right kidney_left gallbladder liver stomach pancreas adrenal_gland_right
        adrenal_gland_left lung_upper_lobe_left lung_lower_lobe_left lung_upper_lobe_right
        lung_middle_lobe_right lung_lower_lobe_right esophagus trachea thyroid_gland small_bowel duodenum colon
        urinary_bladder prostate kidney_cyst_left kidney_cyst_right
    """),
    "vertebrae": words("""
        sacrum vertebrae_S1 vertebrae_L5 vertebrae_L4 vertebrae_L3 vertebrae_L2 vertebrae_L1 vertebrae_T12
        vertebrae_T11 vertebrae_T10 vertebrae_T9 vertebrae_T8 vertebrae_T7 vertebrae_T6 vertebrae_T5
        vertebrae_T4 vertebrae_T3 vertebrae_T2 vertebrae_T1 vertebrae_C7 vertebrae_C6 vertebrae_C5 vertebrae_C4
        vertebrae_C3 vertebrae_C2 vertebrae_C1
    """),
    "cardiac": words("""
        heart aorta pulmonary_vein brachiocephalic_trunk subclavian_artery_right subclavian_artery_left
        common_carotid_artery_right common_carotid_artery_left brachiocephalic_vein_left
        brachiocephalic_vein_right atrial_appendage_left superior_vena_cava inferior_vena_cava
        portal_vein_and_splenic_vein iliac_artery_left iliac_artery_right iliac_vena_left iliac_vena_right
    """),
    "muscles": words("""
        humerus_left humerus_right scapula_left scapula_right clavicula_left clavicula_right femur_left
        femur_right hip_left hip_right spinal_cord gluteus_maximus_left gluteus_maximus_right
        gluteus_medius_left gluteus_medius_right gluteus_minimus_left gluteus_minimus_right autochthon_left
        autochthon_right iliopsoas_left iliopsoas_right brain skull
    """),
    "ribs": words("""
        rib_left_1 rib_left_2 rib_left_3 rib_left_4 rib_left_5 rib_left_6 rib_left_7 rib_left_8 rib_left_9
        rib_left_10 rib_left_11 rib_left_12 rib_right_1 rib_right_2 rib_right_3 rib_right_4 rib_right_5
        rib_right_6 rib_right_7 rib_right_8 rib_right_9 rib_right_10 rib_right_11 rib_right_12 sternum
        costal_cartilages
    """),
}
# Version 1, with which STU-Net was trained.
TOTALSEGMENTATOR_1 = words("""
    adrenal_gland_left adrenal_gland_right aorta autochthon_left autochthon_right brain clavicula_left
    clavicula_right colon duodenum esophagus face femur_left femur_right gallbladder gluteus_maximus_left
    gluteus_maximus_right gluteus_medius_left gluteus_medius_right gluteus_minimus_left gluteus_minimus_right
    heart_atrium_left heart_atrium_right heart_myocardium heart_ventricle_left heart_ventricle_right hip_left
    hip_right humerus_left humerus_right iliac_artery_left iliac_artery_right iliac_vena_left iliac_vena_right
    iliopsoas_left iliopsoas_right inferior_vena_cava kidney_left kidney_right liver lung_lower_lobe_left
    lung_lower_lobe_right lung_middle_lobe_right lung_upper_lobe_left lung_upper_lobe_right pancreas
    portal_vein_and_splenic_vein pulmonary_artery rib_left_1 rib_left_10 rib_left_11 rib_left_12 rib_left_2
    rib_left_3 rib_left_4 rib_left_5 rib_left_6 rib_left_7 rib_left_8 rib_left_9 rib_right_1 rib_right_10
    rib_right_11 rib_right_12 rib_right_2 rib_right_3 rib_right_4 rib_right_5 rib_right_6 rib_right_7
    rib_right_8 rib_right_9 sacrum scapula_left scapula_right small_bowel spleen stomach trachea urinary_bladder
    vertebrae_C1 vertebrae_C2 vertebrae_C3 vertebrae_C4 vertebrae_C5 vertebrae_C6 vertebrae_C7 vertebrae_L1
    vertebrae_L2 vertebrae_L3 vertebrae_L4 vertebrae_L5 vertebrae_T1 vertebrae_T10 vertebrae_T11 vertebrae_T12
    vertebrae_T2 vertebrae_T3 vertebrae_T4 vertebrae_T5 vertebrae_T6 vertebrae_T7 vertebrae_T8 vertebrae_T9
""")
TOTALSEGMENTATOR_MR = words("""
    spleen kidney_right kidney_left gallbladder liver stomach pancreas adrenal_gland_right adrenal_gland_left
    lung_left lung_right esophagus small_bowel duodenum colon urinary_bladder prostate sacrum vertebrae
    intervertebral_discs spinal_cord heart aorta inferior_vena_cava portal_vein_and_splenic_vein
    iliac_artery_left iliac_artery_right iliac_vena_left iliac_vena_right humerus_left humerus_right
    scapula_left scapula_right clavicula_left clavicula_right femur_left femur_right hip_left hip_right
    gluteus_maximus_left gluteus_maximus_right gluteus_medius_left gluteus_medius_right gluteus_minimus_left
    gluteus_minimus_right autochthon_left autochthon_right iliopsoas_left iliopsoas_right brain
""")
MRSEGMENTATOR = words("""
    spleen right_kidney left_kidney gallbladder liver stomach pancreas right_adrenal_gland left_adrenal_gland
    left_lung right_lung heart aorta inferior_vena_cava portal_vein_and_splenic_vein left_iliac_artery
    right_iliac_artery left_iliac_vena right_iliac_vena esophagus small_bowel duodenum colon urinary_bladder
    spine sacrum left_hip right_hip left_femur right_femur left_autochthonous_muscle right_autochthonous_muscle
    left_iliopsoas_muscle right_iliopsoas_muscle left_gluteus_maximus right_gluteus_maximus left_gluteus_medius
    right_gluteus_medius left_gluteus_minimus right_gluteus_minimus
""")
MULTITALENT: dict[str, dict[str, tuple[int, ...]]] = {  # data set -> region -> the labels that it unites
    "Task003_Liver": {
        "03_liver": (1, 2),
        "03_cancer": (2,),
    },
    "Task006_Lung": {
        "06_lungnodule": (3,),
    },
    "Task007_Pancreas": {
        "07_pancreas": (4, 5),
        "07_pancreas_cancer": (5,),
    },
    "Task008_HepaticVessel": {
        "08_vessel": (6,),
        "08_tumor": (7,),
    },
    "Task009_Spleen": {
        "09_spleen": (8,),
    },
    "Task010_Colon": {
        "10_colon_cancer": (9,),
    },
    "Task017_AbdominalOrganSegmentation": {
        "17_spleen": (10,),
        "17_right_kidney": (11,),
        "17_left_kidney": (12,),
        "17_gallbladder": (13,),
        "17_esophagus": (14,),
        "17_liver": (15,),
        "17_stomach": (16,),
        "17_aorta": (17,),
        "17_inf_vena_cava": (18,),
        "17_port_and_splen_vein": (19,),
        "17_pancreas": (20,),
        "17_right_adrenal_gland": (21,),
        "17_left_adrenal_gland": (22,),
    },
    "Task046_AbdOrgSegm2": {
        "46_spleen": (23,),
        "46_left_kidney": (24,),
        "46_gallbladder": (25,),
        "46_esophagus": (26,),
        "46_liver": (27,),
        "46_stomach": (28,),
        "46_pancreas": (29,),
        "46_duodenum": (30,),
    },
    "Task051_StructSeg2019_Task3_Thoracic_OAR": {
        "51_left_lung": (31,),
        "51_right_lung": (32,),
        "51_heart": (33,),
        "51_esophagus": (34,),
        "51_bronchies": (35,),
        "51_spinal_cord_nerve_thingy": (36,),
    },
    "Task055_SegTHOR": {
        "55_esophagus": (37,),
        "55_heart": (38,),
        "55_trachea": (39,),
        "55_aorta": (40,),
    },
    "Task062_NIHPancreas": {
        "62_pancreas": (41,),
    },
    "Task064_KiTS_labelsFixed": {
        "64_both_kidneys": (42, 43),
        "64_kidney_tumor": (43,),
    },
    "Task018_PelvicOrganSegmentation": {
        "18_bladder": (44,),
        "18_uterus": (45,),
        "18_rectum": (46,),
        "18_small_bowel": (47,),
    },
}
