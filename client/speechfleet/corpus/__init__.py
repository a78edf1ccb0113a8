"""Reading corpora: files, folders and tables of many texts, item by item."""
