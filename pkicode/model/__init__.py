"""The words everybody speaks: frozen values with no behaviour beyond their own meaning."""
