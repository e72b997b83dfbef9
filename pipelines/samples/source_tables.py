"""The source tables of the embedded database."""

from typing import LiteralString

CREATE_TABLES: LiteralString = """
CREATE TABLE IF NOT EXISTS accounts (
  account_id text PRIMARY KEY, network text, handle text, display_name text, bio text, followers bigint,
  country text, language text, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz
);
CREATE TABLE IF NOT EXISTS posts (
  post_id text PRIMARY KEY, account_id text, network text, posted_at timestamptz, text text, hashtags text[],
  media_url text, media_type text, likes bigint, comments bigint, views bigint, shares bigint,
  updated_at timestamptz, deleted_at timestamptz
);
CREATE TABLE IF NOT EXISTS testimonials (
  testimonial_id text PRIMARY KEY, brand text, campaign text, account_id text, author_role text, text text,
  rating smallint, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz
);
CREATE INDEX IF NOT EXISTS accounts_updated_at ON accounts (updated_at);
CREATE INDEX IF NOT EXISTS posts_updated_at ON posts (updated_at);
CREATE INDEX IF NOT EXISTS testimonials_updated_at ON testimonials (updated_at);
"""
