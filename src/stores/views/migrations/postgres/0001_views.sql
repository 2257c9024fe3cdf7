-- The numbered view of who is in the cluster: one row.
CREATE TABLE views (
    singleton BIGINT NOT NULL PRIMARY KEY CHECK (singleton = 1),
    number BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL
);

-- Heartbeats of the members; an outsider looks here before it takes over a view whose members it can't hear.
CREATE TABLE beats (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    incarnation BIGINT NOT NULL,
    count BIGINT NOT NULL
);
