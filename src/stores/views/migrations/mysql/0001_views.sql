-- The numbered view of who is in the cluster: one row.
CREATE TABLE IF NOT EXISTS views (
    singleton BIGINT NOT NULL PRIMARY KEY CHECK (singleton = 1),
    number BIGINT NOT NULL,
    body LONGBLOB NOT NULL
) ENGINE = InnoDB;

-- Heartbeats of the members; an outsider looks here before it takes over a view whose members it can't hear.
CREATE TABLE IF NOT EXISTS beats (
    name VARBINARY(1024) NOT NULL PRIMARY KEY,
    incarnation BIGINT NOT NULL,
    count BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
