"""The way out for sandboxed workers, in their parent: checked, bounded, recorded."""
