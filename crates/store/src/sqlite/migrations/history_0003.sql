-- The report of trials reads their events alone.
CREATE INDEX event_trial ON event (id) WHERE kind = 'trial';
