"""Processes of this machine that work for another one."""
