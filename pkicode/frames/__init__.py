"""Values -> tidy DataFrames with fixed dtypes, alike on pandas 2 and 3.  The only room that knows pandas."""

from pkicode.frames import accessor as accessor  # `df.pki` is there on every frame that is made here
