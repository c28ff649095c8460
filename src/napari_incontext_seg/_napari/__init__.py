"""The napari plugin: the only room that may know napari and Qt."""
