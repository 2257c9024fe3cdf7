-- An order keeps the payment token until its payment has been decided. A failed order is kept for 30 days; when that is over
-- says its due time, which lies after that of the orders that wait for a decision (order::NEVER, order::pruning_due). A body that is no
-- JSON stays as it is.

UPDATE orders_documents SET body = json_set(body, '$.state.placed.placement.payment.token', '')
WHERE CASE WHEN json_valid(body) THEN
    json_extract(body, '$.state.placed.placement.payment.token') <> ''
    AND json_extract(body, '$.state.placed.progress.phase') NOT IN ('confirming', 'awaiting_action') END;

UPDATE orders_documents SET due_at = 4611686018427387903 WHERE due_at = 9223372036854775807;

UPDATE orders_documents SET
    due_at = 4611686018427387904 + json_extract(body, '$.state.placed.progress.created_at') + 2592000000,
    body = json_set(body, '$.state.placed.progress.keep_until',
        json_extract(body, '$.state.placed.progress.created_at') + 2592000000)
WHERE CASE WHEN json_valid(body) THEN json_type(body, '$.state.placed.progress.phase.failed') IS NOT NULL END;
