"""The Python face: plans and inventories for scripts and notebooks.  Widgets and charts are not built yet."""
