"""One public layout of labelled images per file: its facts, and how its cases are found. Standard library at the top.

The folder and file names, codes and splits are the providers'; `data.registry` lists the layouts in one table.
"""
