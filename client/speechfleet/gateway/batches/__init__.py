"""OpenAI's files and batches, as a face of the batches that the fleet feeds.

file_routes.py   `/v1/files`: upload, list, content, delete
file_listing.py  files by id, those that a batch puts out among them
batch_routes.py  `/v1/batches`: create, retrieve, list, cancel, and the audio of a line
cursor_page.py   pages of both lists
batch_checks.py  the input files that this gateway checks, by leases
batch_input.py   checks an input file and sorts its lines
batch_start.py   from an input file to a batch that the fleet feeds
batch_view.py    the state of a batch in OpenAI's form
batch_output.py  the lines of output and error files, made from the batch's manifest
"""
