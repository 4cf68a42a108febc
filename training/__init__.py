"""From labelled turns to a bundle. Measuring a bundle needs the base install only; training needs the extra."""
