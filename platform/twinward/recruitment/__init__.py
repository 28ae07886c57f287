"""Contact requests: from a vendor's count to patients whom the hospital itself tells of a study."""
