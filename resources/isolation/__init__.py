"""Read files of other writers in processes of their own, which end with the file.

Belongs here: starting such a process, its limits on memory and time, the reading of Parquet in it.
Not here: what the rows of a file mean.

A damaged or hostile file may exhaust memory, loop, or abort a library. It then ends its own process only, and the
caller gets the reason.
"""
