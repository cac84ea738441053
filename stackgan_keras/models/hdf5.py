"""Which HDF5 files can be read whatever is in them: those that hold all of their numbers themselves."""

import h5py


def check(file: h5py.File, size: int) -> None:
    """Raises ValueError for a file of `size` bytes with links, numbers of other files, or more numbers than bytes.

    HDF5 follows links into any file of the disk, and fills arrays of any size that are announced but not there.
    """
    numbers = 0

    def visit(_name: str, thing: h5py.Group | h5py.Dataset) -> None:
        nonlocal numbers
        if isinstance(thing, h5py.Dataset):
            if thing.external or thing.is_virtual:
                raise ValueError(f"the numbers of {thing.name} are in another file")
            numbers += thing.nbytes
            if numbers > size:
                raise ValueError("it announces more numbers than it holds")
        else:
            for name in thing:
                if not isinstance(thing.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{thing.name} links to something else")

    visit("", file)
    file.visititems(visit)
