"""The seam for data sets: each built-in one is a file here and a YAML of the same name in conf/data/."""
