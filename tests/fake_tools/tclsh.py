"""A tclsh from Python's own Tcl, where no tclsh is installed: tclsh.py SCRIPT [ARGUMENT ...]."""

import sys
import tkinter

interpreter = tkinter.Tcl()
interpreter.tk.call("set", "argv", tuple(sys.argv[2:]))
try:
    interpreter.tk.call("source", sys.argv[1])
except tkinter.TclError as error:
    sys.exit(f"ERROR: {error}")
