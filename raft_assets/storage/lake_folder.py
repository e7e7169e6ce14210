"""`SharedFiles` in a lake that is an address: a folder of this machine of which every machine has its own.

What was published from here or fetched to here has a mark, an empty file, for each lake. So what has a mark and is no
longer in the lake was forgotten by another machine, and what has none was made before this lake was shared.
"""

import re
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

from upath import UPath

from raft_assets.core.atomic import publish, write_text
from raft_assets.core.identity import short_digest
from raft_assets.core.locks import exclusive_lock
from raft_assets.storage.lake import Lake

READ_AT_ONCE = 16  # files: a read of object storage is a matter of waiting
_MARKS, _MACHINE = ".shared", ".machine"  # in the folder: marks of what is shared, and the name of this machine's copy


class LakeFolder:
    """A folder of this machine and what is shared of it, below `name` in the lake's state.

    `shared`: matches names of files that are shared where they were made before anything was.
    """

    def __init__(self, lake: Lake, name: str, folder: Path, shared: re.Pattern[str]) -> None:
        self._lake, self._name, self._folder, self._shared = lake, name, folder, shared
        self._key = (lake.root, name, folder)
        self._marks = folder / _MARKS / short_digest("lake", lake.root)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LakeFolder) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def machine(self) -> str:
        """A name that this folder has had since it was first asked for, and that no other one has."""
        file = self._folder / _MACHINE
        with exclusive_lock(self._folder / f"{_MACHINE}.lock"):
            if not file.is_file():
                write_text(file, secrets.token_hex(8))
        return file.read_text("utf-8")

    def names(self, folder: str) -> list[str]:
        """Return the names of the shared files below a folder, sorted."""
        with self._lake.told():
            root = self._root
            root.fs.invalidate_cache()  # other machines write as well
            found = root.fs.find(f"{root.path}/{folder}".rstrip("/"))
        start = f"{root.path.strip('/')}/"
        names = sorted(file.strip("/").removeprefix(start) for file in found)
        return [name for name in names if ".." not in name.split("/")]  # which would lie outside of the folder here

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the contents, by name, of those of the files that are shared; several are read at once."""
        with self._lake.told(), ThreadPoolExecutor(READ_AT_ONCE) as readers:
            found = zip(names, readers.map(self._read, names), strict=True)
            return {name: content for name, content in found if content is not None}

    def _read(self, name: str) -> bytes | None:
        try:
            return bytes(self._root.fs.cat_file(f"{self._root.path}/{name}"))
        except FileNotFoundError:
            return None

    def fetch(self, name: str) -> None:
        """Put the shared file, or all files of the shared folder, into this machine's folder."""
        found = self.names(name)
        if not found:
            return
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".", suffix=".part") as folder, self._lake.told():
            drafts = {one: Path(folder) / str(number) for number, one in enumerate(found)}
            for one, draft in drafts.items():
                try:
                    self._root.fs.get_file(f"{self._root.path}/{one}", str(draft))
                except FileNotFoundError:  # another machine has just forgotten it
                    draft.unlink(missing_ok=True)
                    continue
                self._mark(one)
            self._put_in_place(target, name, {one: draft for one, draft in drafts.items() if draft.exists()})

    def _put_in_place(self, target: Path, name: str, drafts: dict[str, Path]) -> None:
        """Move files to where they belong; those of a folder that isn't here yet all at once."""
        if not drafts or list(drafts) == [name]:
            for draft in drafts.values():
                draft.replace(target)
            return
        whole = next(iter(drafts.values())).parent / "whole"
        for one, draft in drafts.items():
            place = whole / Path(one).relative_to(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(place)
        try:
            whole.rename(target)
        except OSError:  # it is here already
            for place in sorted(whole.rglob("*")):
                if place.is_file():
                    here = target / place.relative_to(whole)
                    here.parent.mkdir(parents=True, exist_ok=True)
                    place.replace(here)

    def publish(self, name: str) -> None:
        """Share the file, or all files of the folder, as it is here, in place of what is shared by that name."""
        here = self._folder / name
        for file in sorted(here.rglob("*")) if here.is_dir() else [here]:
            if file.is_file():
                own = file.relative_to(self._folder).as_posix()
                with self._lake.told():
                    publish(self._root / own, partial(shutil.copyfile, file))
                self._mark(own)

    def forget(self, name: str) -> None:
        """Share a file or a folder no longer; what is here stays."""
        for one in self.names(name):
            with self._lake.told(), suppress(FileNotFoundError):
                self._root.fs.rm_file(f"{self._root.path}/{one}")
            self._mark_of(one).unlink(missing_ok=True)

    def reconcile(self) -> None:
        """Delete here what another machine has forgotten, and share what was made here before; once per process."""
        if self in _RECONCILED:
            return
        with exclusive_lock(self._folder / f"{_MARKS}.lock"):
            marked = {file.relative_to(self._marks).as_posix() for file in self._files(self._marks)}
            shared = set(self.names(""))  # listed after the marks, which are set after a file was shared
            for name in marked - shared if shared else ():  # a lake that is empty has lost its files
                self._mark_of(name).unlink(missing_ok=True)
                self._delete(name)
            here = (file.relative_to(self._folder).as_posix() for file in self._files(self._folder))
            for name in sorted(here, key=lambda name: (-name.count("/"), name)):  # what tells of a folder comes last
                if self._shared.fullmatch(name) and name not in marked:
                    self.publish(name)
        _RECONCILED.add(self)

    def _delete(self, name: str) -> None:
        """Delete a file here, and the folders that it leaves empty."""
        file = self._folder / name
        file.unlink(missing_ok=True)
        for above in file.relative_to(self._folder).parents[:-2]:
            try:
                (self._folder / above).rmdir()
            except OSError:  # something else is in it
                break

    @property
    def _root(self) -> UPath:
        return self._lake.state / self._name

    def _mark_of(self, name: str) -> Path:
        return self._marks / name

    def _mark(self, name: str) -> None:
        mark = self._mark_of(name)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()

    @staticmethod
    def _files(folder: Path) -> Iterator[Path]:
        return (file for file in folder.rglob("*") if file.is_file())


_RECONCILED = set[LakeFolder]()  # by this process
