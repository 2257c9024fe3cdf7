-- An order keeps the payment token until its payment has been decided. A body that is no JSON stays as it is.

UPDATE orders_documents SET body = json_set(body, '$.state.placed.placement.payment.token', '')
WHERE CASE WHEN json_valid(body) THEN
    json_extract(body, '$.state.placed.placement.payment.token') <> ''
    AND json_extract(body, '$.state.placed.progress.phase') NOT IN ('confirming', 'awaiting_action') END;
