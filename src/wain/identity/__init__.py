"""Applications, certificates, tokens, roles: what Entra and Microsoft Graph are on Azure, for `wain serve`."""
