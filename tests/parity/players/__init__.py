"""Which checkpoint plays a folder of recordings, and the function that plays an architecture."""

from players import (
    clip_driven,
    look_windows,
    nninteractive,
    nnunet,
    sam,
    sam2,
    sam_med2d,
    sam_med3d,
    scribbleprompt,
    universeg,
)

CARDS = {  # folder -> card
    "sam_vit_b": "sam-vit-b",
    "sam_vit_l": "sam-vit-l",
    "sam_vit_h": "sam-vit-h",
    "medsam_vit_b": "medsam",
    "mobilesam_vit_t": "mobile-sam",
    "litemedsam": "lite-medsam",
    "sam2.1_hiera_t_image": "sam2.1-hiera-t",
    "medsam2_hiera_t512_volume": "medsam2",
    "sam_med2d_b": "sam-med2d",
    "sam_med3d": "sam-med3d",
    "scribbleprompt_unet": "scribbleprompt-unet",
    "universeg_v1": "universeg",
    "stunet_s": "stunet-s",
    "stunet_b": "stunet-b",
    "multitalent": "multitalent",
    "clip_driven_unet": "clip-driven-unet",
    "clip_driven_swinunetr": "clip-driven-swin-unetr",
}
MADE = {  # folder -> the card or model of a contract that states the sizes of the network
    "nninteractive_net": nninteractive.card,
    "nninteractive_prompts": nninteractive.card,
    "nninteractive_session": nninteractive.card,
    "nnunet_plainconv": nnunet.card,
    "nnunet_resenc": nnunet.card,
    "nnunet_sliding_window": look_windows.model,
}
PLAYERS = {  # a card's entry -> play(model, inputs) -> outputs
    "players.look_windows:Toy": look_windows.play,
    "vesalius.models.clip_driven:ClipDriven": clip_driven.play,
    "vesalius.models.nninteractive:NnInteractive": nninteractive.play,
    "vesalius.models.nnunet:NnUnet": nnunet.play,
    "vesalius.models.sam:Sam": sam.play,
    "vesalius.models.sam2:Sam2": sam2.play,
    "vesalius.models.sam_med2d:SamMed2d": sam_med2d.play,
    "vesalius.models.sam_med3d:SamMed3d": sam_med3d.play,
    "vesalius.models.scribbleprompt:ScribblePrompt": scribbleprompt.play,
    "vesalius.models.universeg:UniverSeg": universeg.play,
}
