"""What training needs besides a network: targets, prompts as a person would give them, augmentation, losses."""
