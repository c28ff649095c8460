"""`EditSection`: the least sure links one after the other, and the edits that put tracks right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QMenu, QWidget

from ..errors import InputError
from ..session.tracks import TrackEditor
from .controls import button, menu_button, quiet
from .notices import told
from .section import Section
from .tracks_bench import DOUBTFUL, TrackBench

ONE = "choose a track first: click it in the image, in the table or in the lineage."
TWO = "choose two tracks: click the first, then Shift+click the second in the image (in the table: Ctrl+click)."


class EditSection(Section):
    """Edits of the tracks that are chosen, in the frame on display."""

    def __init__(self, bench: TrackBench, parent: QWidget | None = None) -> None:
        super().__init__("2  Correct", "Look at the links that are least sure, and put right what is wrong.", parent)
        self._bench = bench
        self.chosen = quiet()
        self.note = quiet()
        self.next_doubtful = button(
            "Next doubtful", "Go to the link that is least sure, then to the next (Shift+N).", self._next, primary=True
        )
        self.confirm = button(
            "Confirm",
            "The link of the chosen track into this frame is right: it is never undone when you track again (Shift+Y).",
            self._confirm,
        )
        self._buttons = (
            self._made("merge", "Merge", "Make two tracks one, which keeps the first's number (Shift+M).", self._merge),
            self._made("split", "Split", "From this frame on the chosen track is a new one (Shift+S).", self._split),
            self._made("delete", "Delete", "Delete the chosen track, in all frames (Shift+D).", self._delete),
            self._made(
                "relink", "Relink", "From this frame on, the first track goes on as the second (Shift+R).", self._relink
            ),
            self._made("swap", "Swap", "Exchange two tracks from this frame on (Shift+W).", self._swap),
            self._made("divide", "Division", "The first track is the mother of the others (Shift+B).", self._divide),
            self._made("undo", "Undo", "Take the last edit back (Shift+U).", partial(self._back, "undo")),
            self._made("redo", "Redo", "Do it again (Shift+J).", partial(self._back, "redo")),
        )
        self.more = menu_button("More", "Edits of single objects in this frame.", self._fill_more)
        self._build()
        bench.chosen.connect(self.refresh)
        bench.changed.connect(self.refresh)
        bench.opened.connect(self._on_opened)
        self._on_opened()

    def actions_by_name(self) -> dict[str, Callable[[], Any]]:
        """What the keys do."""
        return {
            "next_doubtful": self._next, "confirm": self._confirm, "merge": self._merge, "split": self._split,
            "delete": self._delete, "relink": self._relink, "swap": self._swap, "divide": self._divide,
            "undo": partial(self._back, "undo"), "redo": partial(self._back, "redo"),
        }  # fmt: skip

    def say(self, text: str) -> None:
        """A line below the buttons."""
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def refresh(self) -> None:
        """Show what is chosen, and what can be undone."""
        out = self._bench.outcome
        self.setEnabled(out is not None)
        self.chosen.setText(self._words())
        if out is None:
            return
        for made, title, words, nothing in (
            (self.undo, out.editor.undo_title, "Take back: {} (Shift+U).", "No edit to take back."),
            (self.redo, out.editor.redo_title, "Do again: {} (Shift+J).", "No edit was taken back."),
        ):
            made.setEnabled(title is not None)
            made.setToolTip(words.format(title) if title else nothing)

    def _words(self) -> str:
        tracks, choice = self._bench.tracks, self._bench.choice
        if tracks is None:
            return "No tracks yet."
        if not choice:
            return "Click an object to choose its track; Shift+click chooses another besides."
        first = choice[0]
        life = f"Track {first} (frames {tracks.begin(first)} to {tracks.end(first)})"
        return (
            life if len(choice) == 1 else f"{life}, then {', '.join(map(str, choice[1:5]))}" + " …" * (len(choice) > 5)
        )

    # -- building -------------------------------------------------------------------------------------------------
    def _made(self, name: str, text: str, words: str, act: Callable[[], Any]) -> Any:
        made = button(text, words, act)
        setattr(self, name, made)
        return made

    def _build(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(6)
        line.addWidget(self.next_doubtful, 2)
        line.addWidget(self.confirm, 1)
        line.addWidget(self.more)
        self.content.addLayout(line)
        self.content.addWidget(self.note)
        self.content.addWidget(self.chosen)
        for widgets in (self._buttons[:4], self._buttons[4:]):
            edits = QHBoxLayout()
            edits.setSpacing(5)
            for made in widgets:
                made.setProperty("narrow", True)
                edits.addWidget(made, 1)
            self.content.addLayout(edits)

    def _fill_more(self, menu: QMenu) -> None:
        for text, words, act in (
            ("Merge the two objects in this frame", "They are pieces of one object here.", self._merge_objects),
            ("Split the object in this frame", "It is two objects here: cut at its waist.", self._split_object),
            ("Delete the object in this frame", "", self._delete_here),
            ("Delete the track from this frame on", "", self._delete_later),
        ):
            menu.addAction(text, act).setToolTip(words)

    def _on_opened(self) -> None:
        self.say("")
        self.refresh()

    # -- looking --------------------------------------------------------------------------------------------------
    def _next(self) -> None:
        found = self._bench.next_doubtful()
        if found is None:
            self.say("No link is doubtful." if self._bench.tracks is not None else "")
            return
        track, frame, sure, left = found
        tracks = self._bench.tracks
        assert tracks is not None
        begins = frame == tracks.begin(track)
        mother = f" from its mother {', '.join(map(str, tracks.parents.get(track, ())))}" if begins else ""
        more = f"{left} more below {DOUBTFUL}." if left else f"No other is below {DOUBTFUL}."
        self.say(f"Track {track} into frame {frame}{mother}: {sure:.2f} sure. {more}")

    def _confirm(self) -> None:
        def confirm(editor: TrackEditor, first: int, frame: int) -> None:
            editor.confirm(first, frame)

        if self._edit("confirming a link", confirm, lambda _, choice: choice):
            self.say("Confirmed: tracking again keeps this link.")

    # -- edits ----------------------------------------------------------------------------------------------------
    def _edit(
        self, doing: str, change: Callable[..., Any], choose: Callable[[Any, Sequence[int]], Sequence[int]],
        *, least: int = 1,
    ) -> bool:  # fmt: skip
        """Change the tracks that are chosen: ``change`` takes the editor, ``least`` tracks and the frame."""
        bench = self._bench
        with told(doing):
            bench.ready()
            choice = bench.choice
            if len(choice) < least:
                raise InputError(ONE if least == 1 else TWO)
            frame = bench.here()
            self.say("")
            return bench.edit(
                doing, lambda editor: change(editor, *choice[:least], frame), lambda result: choose(result, choice)
            )
        return False

    def _merge(self) -> None:
        self._edit("merging tracks", lambda e, a, b, _: e.merge_tracks(a, b), lambda _, c: c[:1], least=2)

    def _split(self) -> None:
        self._edit("splitting a track", lambda e, a, t: e.split_track(a, t), lambda new, c: (new, c[0]))

    def _delete(self) -> None:
        self._edit("deleting a track", lambda e, a, _: e.delete(a), lambda _, c: c[1:])

    def _relink(self) -> None:
        self._edit("relinking", lambda e, a, b, t: e.relink(a, t, b), lambda _, c: c[1:2], least=2)

    def _swap(self) -> None:
        self._edit("swapping tracks", lambda e, a, b, t: e.swap(a, b, t), lambda _, c: c, least=2)

    def _divide(self) -> None:
        others = self._bench.choice[1:]
        self._edit(
            "adding a division", lambda e, a, _, __: e.add_division(a, others), lambda new, c: (c[0], *new), least=2
        )

    def _merge_objects(self) -> None:
        self._edit("merging objects", lambda e, a, b, t: e.merge_objects(t, a, b), lambda _, c: c[:1], least=2)

    def _split_object(self) -> None:
        self._edit("splitting an object", lambda e, a, t: e.split_object(t, a), lambda new, c: (c[0], new))

    def _delete_here(self) -> None:
        self._edit("deleting an object", lambda e, a, t: e.delete(a, [t]), lambda _, c: c)

    def _delete_later(self) -> None:
        def delete(editor: TrackEditor, track: int, frame: int) -> None:
            tracks = editor.tracks
            editor.delete(track, [int(t) for t in tracks.frame[tracks.rows(track)] if t >= frame])

        self._edit("deleting objects", delete, lambda _, c: c)

    def _back(self, name: str) -> None:
        self.say("")
        choice = self._bench.choice
        self._bench.edit(f"{name}ing an edit", lambda editor: getattr(editor, name)(), lambda _: choice)
