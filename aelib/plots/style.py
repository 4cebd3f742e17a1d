"""What all figures share: colours and words."""

import seaborn as sns

PALETTE = sns.color_palette("colorblind")
"""Colours that colour-blind readers tell apart."""

DENSITY_LABEL = "share of points per unit"
