"""What stands in masks, as data sources write it and losses and metrics read it; without PyTorch."""

NO_LABEL = 255  # a pixel that has no class
