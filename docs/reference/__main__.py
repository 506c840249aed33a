"""`python -m docs.reference`: write the generated tables into `docs/*.md`."""

from docs.reference.pages import write

for path in write():
    print(path.name)
