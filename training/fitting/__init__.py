"""From a split and a recipe to trained weights."""
