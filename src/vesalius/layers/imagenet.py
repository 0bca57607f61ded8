"""The colours of ImageNet, with which SAM and its relatives normalise their pictures."""

import numpy as np

MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # of red, green and blue, from 0 to 255
STD = np.array([58.395, 57.12, 57.375], np.float32)
