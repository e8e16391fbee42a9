-- The tables of catalog.duckdb. Times are UTC. `source` is a file's name, relative to the workflow.

CREATE TABLE datasets (
    dataset VARCHAR PRIMARY KEY,
    "set" VARCHAR NOT NULL,
    label VARCHAR NOT NULL,
    cells VARCHAR NOT NULL,
    model VARCHAR,
    embedder VARCHAR,
    dim UINTEGER NOT NULL,
    dtype VARCHAR NOT NULL,
    "rows" UBIGINT NOT NULL,
    bytes UBIGINT NOT NULL,
    bit_stable BOOLEAN NOT NULL,
    parts VARCHAR[],
    workflow VARCHAR NOT NULL,
    step VARCHAR NOT NULL,
    published TIMESTAMP NOT NULL,
    run VARCHAR NOT NULL,
    host VARCHAR NOT NULL
);
COMMENT ON TABLE datasets IS 'What the directory shows: one row a dataset';
COMMENT ON COLUMN datasets."set" IS 'Digest of the set, which is the key of the step that made it';
COMMENT ON COLUMN datasets.cells IS 'Matrix values of the dataset, a JSON object';
COMMENT ON COLUMN datasets.bytes IS 'Of its keyed files; the vectors of a view are those of its parts';
COMMENT ON COLUMN datasets.parts IS 'Of a merge: the datasets merged, in their order';

CREATE TABLE papers (
    bibcode VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    "row" UBIGINT NOT NULL,
    part VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    line UBIGINT NOT NULL,
    -- Random bytes: to try and shorten them takes half of the time, and gives nothing.
    metadata_digest BLOB USING COMPRESSION uncompressed NOT NULL,
    row_key BLOB USING COMPRESSION uncompressed NOT NULL
);
COMMENT ON TABLE papers IS 'One row for each row of each dataset';
COMMENT ON COLUMN papers."row" IS 'Row of the dataset, from 0; in a view superseded rows count, though none is listed';
COMMENT ON COLUMN papers.part IS 'Of a merge: the dataset that the row was taken from; otherwise the dataset itself';
COMMENT ON COLUMN papers.source IS 'The file that it was read from, relative to the workflow';
COMMENT ON COLUMN papers.line IS 'The line in it, from 1';
COMMENT ON COLUMN papers.metadata_digest IS 'Digest of the selected fields, as hex(metadata_digest) shows it';
COMMENT ON COLUMN papers.row_key IS 'Key of the text under its embedder';

CREATE TABLE rejects (
    dataset VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    bibcode VARCHAR,
    source VARCHAR,
    line UBIGINT,
    reason VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    excerpt VARCHAR
);
COMMENT ON TABLE rejects IS 'Lines and rows that were set aside on the way to a dataset, and why; of a merge what it superseded, or took for another paper''s alias';
COMMENT ON COLUMN rejects.kind IS 'Of the step that set it aside: load, prepare, embed or merge';

CREATE TABLE truncations (
    dataset VARCHAR NOT NULL,
    "row" UBIGINT NOT NULL,
    bibcode VARCHAR NOT NULL,
    text_truncated BOOLEAN NOT NULL,
    tokens UINTEGER NOT NULL,
    tokens_dropped UINTEGER NOT NULL
);
COMMENT ON TABLE truncations IS 'Rows of embedded datasets whose text was cut short, by truncate or by the model''s limit; of a merge go by papers.part';
COMMENT ON COLUMN truncations.text_truncated IS 'Whether truncate cut characters off';
COMMENT ON COLUMN truncations.tokens_dropped IS 'Tokens beyond what the model reads';

CREATE TABLE nodes (
    workflow VARCHAR NOT NULL,
    step VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    rows_in UBIGINT,
    "rows" UBIGINT,
    rejected UBIGINT,
    seconds DOUBLE,
    started TIMESTAMP,
    run VARCHAR,
    host VARCHAR,
    version VARCHAR
);
COMMENT ON TABLE nodes IS 'Each step of the workflows that publish here, as it was last used';
COMMENT ON COLUMN nodes.run IS 'The run that made it: an older one where the step was fresh since';

CREATE TABLE runs (
    run VARCHAR NOT NULL,
    workflow VARCHAR,
    version VARCHAR,
    started TIMESTAMP,
    finished TIMESTAMP,
    seconds DOUBLE,
    outcome VARCHAR,
    steps_finished UBIGINT NOT NULL,
    steps_failed UBIGINT NOT NULL
);
COMMENT ON TABLE runs IS 'Every run that did something in the stores that these datasets were built in';
COMMENT ON COLUMN runs.outcome IS 'done, failed or interrupted; null while it runs, or if it was killed';
