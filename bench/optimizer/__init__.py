"""The seam for optimizers: what torch lacks is a file here and a YAML of the same name in conf/optimizer/."""
