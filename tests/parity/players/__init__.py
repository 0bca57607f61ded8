"""Which checkpoint plays a folder of recordings, and the function that plays an architecture."""

from players import sam

CARDS = {  # folder -> card
    "sam_vit_b": "sam-vit-b",
    "sam_vit_l": "sam-vit-l",
    "sam_vit_h": "sam-vit-h",
    "medsam_vit_b": "medsam",
    "mobilesam_vit_t": "mobile-sam",
    "litemedsam": "lite-medsam",
}
PLAYERS = {"vesalius.models.sam:Sam": sam.play}  # a card's entry -> play(model, inputs) -> outputs
