"""A tclsh from Python's own Tcl, where no tclsh is installed: tclsh.py SCRIPT [ARGUMENT ...]."""

import os
import sys
import tkinter

interpreter = tkinter.Tcl()
# tkinter's interpreters have no exit of their own
interpreter.createcommand("exit", lambda status="0": os._exit(int(status)))
interpreter.tk.call("set", "argv", tuple(sys.argv[2:]))
try:
    interpreter.tk.call("source", sys.argv[1])
except tkinter.TclError as error:
    sys.exit(f"ERROR: {error}")
