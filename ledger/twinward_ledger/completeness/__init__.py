"""The completeness map: what proves that an export leaves no row out. Pure, its storage is asked through interfaces."""
