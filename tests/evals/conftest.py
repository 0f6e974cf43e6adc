"""Its presence puts this folder on the import path: the folders below share `subjects`."""
