"""Agents alone: one module a framework, which imports what a program with an agent does.

A module offers ``first(folder)``, by which an agent is made and answers in a process of its own.
"""
