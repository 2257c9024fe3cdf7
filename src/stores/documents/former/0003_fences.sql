-- The view under which the row was written last; 0: by a version that did not say.
ALTER TABLE documents ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
