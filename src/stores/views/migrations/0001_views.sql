-- The numbered view of who is in the cluster: one row.
CREATE TABLE views (
    singleton INTEGER NOT NULL PRIMARY KEY CHECK (singleton = 1),
    number INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- Signs of life of the members; an outsider looks here before it takes over a view whose members it can't hear.
CREATE TABLE beats (
    name TEXT NOT NULL PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
