"""Values -> tidy DataFrames with fixed dtypes, alike on pandas 2 and 3.  The only room that knows pandas."""
