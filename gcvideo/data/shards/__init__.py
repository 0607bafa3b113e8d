"""Videos in tar files, for disks that are slow at many small files, and for HTTP servers.

`reading` opens the tars, `streams` makes batches of them. The rest of the package sees videos (`ShardedVideos` is one
kind of `Videos`); the tars are written by `dataset_tools/pack.py`.
"""

from gcvideo.data.shards.reading import ShardError

__all__ = ["ShardError"]
