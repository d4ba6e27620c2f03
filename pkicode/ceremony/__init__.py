"""The offline ceremony (docs/explanation/ceremony.md): cards, what is carried, words."""
