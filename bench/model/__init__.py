"""The seam for models: each built-in class is a file here and a YAML of the same name in conf/model/."""
