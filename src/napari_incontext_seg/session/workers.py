"""`Workers`: processes or machines that paint side by side (dask.distributed), each with the model loaded once.

What goes over the network is small: paths, plane numbers, how to load the model. A run is described in the folder of
its unfinished result (`infer.portable`), images are opened by the workers where they are, and finished planes go
straight to disk, each to chunks of its own. So a plane may be painted twice without harm, and what a worker was doing
when it died is given to another one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import napari_incontext_seg

from ..errors import FileError, InContextError, InputError, ResourceError
from ..infer.agenda import Agenda
from ..infer.portable import save_run
from ..infer.propagate import Propagation
from ..io.labels import LabelWriter
from ..io.spool import PlaneSpool
from . import worker_process
from .report import Finished
from .worker_process import Load, Painted, paint_piece

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

    Given: TypeAlias = dict[Future[Any], Any]

PIECE = 4  # planes that are given to a worker at once, at most
AHEAD = 2  # pieces that a worker has at once: one to paint, one to go on with
CONNECT = 10.0  # seconds until a scheduler answers
PATIENCE = 60.0  # seconds without any worker, or until a plane that was written elsewhere is seen here


class Workers:
    """Processes of this machine, or a cluster that is there already. Used as a context manager.

    Parameters
    ----------
    load
        Loads the model: an `infer.model_choice.ModelChoice`.
    count
        Start so many processes on this machine. They share its cores, and end when the ``with`` is left.
    scheduler
        Or the address of a dask scheduler (``tcp://host:8786``). Its workers need this package, and must see images,
        models and results under the same paths.

    Raises
    ------
    InputError
        Neither or both of ``count`` and ``scheduler``. On entering: dask.distributed is not installed, no scheduler
        answers, or its workers have another version of this package.
    """

    def __init__(self, load: Load, *, count: int | None = None, scheduler: str | None = None) -> None:
        if (count is None) == (scheduler is None) or (count is not None and count < 1):
            raise InputError(
                f"give a number of workers from 1, or the address of a scheduler; got {count} and {scheduler}."
            )
        self.load = load
        self._count, self._scheduler = count, scheduler
        self._opened = ExitStack()
        self._size, self._counted = 0, 0.0
        self.client: Client

    def __enter__(self) -> Self:
        try:
            from distributed import Client
        except ImportError as error:
            raise InputError(
                "several workers need dask.distributed, which is not installed: "
                'pip install ".[distributed]" where this program was cloned.'
            ) from error
        with ExitStack() as opened:
            try:
                address = self._scheduler or opened.enter_context(_local_cluster(self._count or 1))
                self.client = opened.enter_context(Client(address, timeout=CONNECT, set_as_default=False))
                self.client.wait_for_workers(1, timeout=PATIENCE)
            except (OSError, TimeoutError, ValueError) as error:
                raise InputError(
                    f"no scheduler with workers answers at {self._scheduler or 'this machine'} ({error}): start `dask "
                    "scheduler`, and `dask worker ADDRESS` on each machine."
                ) from error
            self._check_versions()
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def _check_versions(self) -> None:
        """Raise InputError unless all workers have this package in this version."""
        try:
            found = set(self.client.run(worker_process.version).values())
        except Exception as error:  # what a worker raises that cannot import us
            raise InputError(
                f"the workers cannot use napari-incontext-seg ({error}): install it in their environment, too."
            ) from error
        if found != {napari_incontext_seg.__version__}:
            raise InputError(
                f"the workers have napari-incontext-seg {', '.join(sorted(found))}, and here it is "
                f"{napari_incontext_seg.__version__}: install the same version everywhere."
            )

    # -- work -----------------------------------------------------------------------------------------------------
    def paint(self, run: Propagation, writer: LabelWriter) -> Generator[Finished]:
        """Paint a run into the spool of a writer; yields what is finished, in the order in which that happens.

        Planes that the writer holds already are left as they are.

        Closing the iterator, or an error, ends the workers of this machine; those of a scheduler end their piece.

        Raises
        ------
        InContextError
            What a worker could not do.
        ResourceError
            Workers die over the same planes again and again, or none is left.
        """
        folder = writer.spool.folder.parent.absolute()
        save_run(folder, run)
        left = sum(position not in writer.finished for position in run.positions)
        share = left // (4 * self.size)  # at the end of a short run no worker shall wait long for another
        agenda = Agenda(run, min(PIECE, max(1, share)), writer.finished)
        finished: list[Finished] = []

        def keep(piece: list[int], result: list[Painted] | InContextError) -> None:
            if isinstance(result, InContextError):
                raise result
            for position, confidence, largest in result:
                _wait_for_plane(writer.spool, position)
                writer.note(position, largest)
                finished.append(Finished(position, confidence))
            agenda.finish(piece)

        work = partial(paint_piece, str(folder), self.load, run.predictor.digest)
        for _ in self._spread(work, agenda.take, keep):
            yield from finished
            finished.clear()

    def each(self, function: Callable[[Any], Any], jobs: Iterable[Any]) -> Generator[tuple[Any, Any | InContextError]]:
        """Give each job to a worker; yields (job, result or error) as they are finished."""
        rest = iter(jobs)
        results: list[tuple[Any, Any]] = []
        for _ in self._spread(function, lambda: next(rest, None), lambda job, result: results.append((job, result))):
            yield from results
            results.clear()

    # -- the scheduler --------------------------------------------------------------------------------------------
    @property
    def size(self) -> int:
        """How many workers there are, at least 1: in a cluster they come and go."""
        if time.monotonic() - self._counted > 1:
            self._size, self._counted = self._alive(), time.monotonic()
        return max(1, self._size)

    def _alive(self) -> int:
        with suppress(Exception):  # a scheduler that has gone makes the client raise one or the other
            return len(self.client.nthreads())
        return 0

    def _spread(
        self, function: Callable[[Any], Any], take: Callable[[], Any], keep: Callable[[Any, Any], None]
    ) -> Iterator[None]:
        """Give out what ``take`` gives until that is nothing; yields whenever ``keep`` has got a result."""
        done: SimpleQueue[Future[Any]] = SimpleQueue()
        given: Given = {}
        try:
            while True:
                while len(given) < AHEAD * self.size and (job := take()):
                    future = self.client.submit(function, job, pure=False)
                    given[future] = job
                    future.add_done_callback(done.put)
                if not given:
                    return
                future = self._next(done)
                keep(given.pop(future), _result(future))
                yield
        finally:
            if given:
                self._stop(given, done, keep)

    def _next(self, done: SimpleQueue[Future[Any]]) -> Future[Any]:
        """The next future that is done, as long as there are workers."""
        seen = time.monotonic()
        while True:
            with suppress(Empty):
                return done.get(timeout=1)
            if self._alive():
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE:
                raise ResourceError("no worker is left: the scheduler or its workers have ended. Start them again.")

    def _stop(self, given: Given, done: SimpleQueue[Future[Any]], keep: Callable[[Any, Any], None]) -> None:
        """Keep what is done by now, and end the rest, so that nothing is written any more."""
        with suppress(Exception):  # what stopped the run is told, and nothing else
            while not done.empty():
                future = done.get()
                if future in given and future.status == "finished":
                    keep(given.pop(future), future.result())
            self.client.cancel(list(given), force=True)
        if self._scheduler is None:
            self._opened.close()


@contextmanager
def _local_cluster(count: int) -> Iterator[LocalCluster]:
    """Processes of this machine, which share its cores."""
    import dask
    from dask.system import CPU_COUNT
    from distributed import LocalCluster

    threads = max(1, min(CPU_COUNT // count, int(os.environ.get("OMP_NUM_THREADS", CPU_COUNT))))
    # in place of dask's own, with which the C library gives every array back to the system, and that takes longer
    # than to paint
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    before = {name: os.environ.get(name) for name in (*limits, "PYTHONHASHSEED")}
    try:
        with (
            dask.config.set({"distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": None, **limits}}),
            LocalCluster(
                n_workers=count,
                threads_per_worker=threads,  # these are the model's: a worker paints one plane at a time
                processes=True,
                host="127.0.0.1",  # nobody else may give them work
                dashboard_address="127.0.0.1:0",  # any port: two runs side by side do not get into each other's way
                memory_limit=None,  # nothing is kept in dask's memory; a limit would halt workers with large models
                silence_logs=logging.CRITICAL,
                preload=[worker_process.__name__],
            ) as cluster,
        ):
            yield cluster
    finally:
        for name, value in before.items():  # dask sets here what is meant for the workers
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _result(future: Future[Any]) -> Any | InContextError:
    """The result, or what is known to go wrong; what is not is raised."""
    from distributed import KilledWorker

    try:
        return future.result()
    except InContextError as error:
        return error
    except KilledWorker as error:
        return ResourceError(
            "workers died over the same planes again and again: perhaps there is not enough memory for so many. "
            f"Start fewer. ({str(error).splitlines()[0]})"
        )


def _wait_for_plane(spool: PlaneSpool, position: int) -> None:
    """Until it is seen here what a worker has written: disks of a network may take their time."""
    until = time.monotonic() + PATIENCE
    while not spool.holds(position):
        if time.monotonic() > until:
            raise FileError(
                f"a worker has written slice {position} to {spool.folder}, but here it is not seen: results must lie "
                "on a disk that all machines share."
            )
        time.sleep(0.1)
