"""Every file of the build as bytes in memory; nothing here touches the disk."""
