"""Data sets: images named by their factors, official, re-rendered or yours."""
