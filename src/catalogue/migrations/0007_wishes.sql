-- What an asset wishes for at one peer. With the asset alone in the index the engine preferred to go over all jobs of the peer,
-- once for each page of a listing.
DROP INDEX job_asset;
CREATE INDEX job_asset ON job (asset, peer);
