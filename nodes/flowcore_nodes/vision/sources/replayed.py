"""Opens the source that an address names, of those that can be read again."""

from pathlib import Path

from flowcore_nodes.vision.conveyor import Conveyor
from flowcore_nodes.vision.sources.address import Address
from flowcore_nodes.vision.sources.belt import Belt
from flowcore_nodes.vision.sources.frames import Region, Replayed, SourceError
from flowcore_nodes.vision.sources.image_folder import ImageFolder
from flowcore_nodes.vision.sources.video_file import VideoFile


def open_replayed(address: Address, region: Region | None, fps: float | None) -> Replayed:
    """Open a file, a folder or a simulation.

    Args:
        fps: frames a second in place of the source's own; of the belt it changes what is drawn.
    Raises:
        SourceError: it can't be opened.
    """
    source: Replayed
    try:
        if address.kind == "sim":
            settings = dict(address.settings)
            source = Belt(Conveyor.of(settings | ({"fps": str(fps)} if fps else {})), region)
        elif (path := Path(address.target)).is_dir():
            source = ImageFolder(path, region)
        else:
            source = VideoFile(path, region)
    except (ValueError, OSError) as e:
        raise SourceError(str(e)) from None
    source.fps = fps or source.fps
    return source
