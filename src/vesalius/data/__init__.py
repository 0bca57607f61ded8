"""Labelled images for training and for measuring: what a data set is, and one reader per public layout."""
